# Sidens ord på norsk bokmål. De samme meldingene som i en.ftl.

service = Synlighet i portalen
skip = Gå til innholdet
navigation = Sider
nav-pending = Venter
nav-requests = Forespørsler
languages = Språk
sign-out = Logg ut
find = Finn en likeperson
find-label = Likepersonens UUID
find-hint = For eksempel 3f2a1b4c-5d6e-4f70-8a9b-0c1d2e3f4a5b
find-wrong = Dette er ikke en UUID. Den har 32 sifre og bokstaver fra a til f, vanligvis med fire bindestreker.
find-button = Finn

pending-title = Ventende synlighetsendringer
pending-count = { $count ->
    [0] Ingen synlighetsendring venter.
    [one] { $count } synlighetsendring venter.
   *[other] { $count } synlighetsendringer venter.
}
count-pending = { $count } venter
count-in_doubt = { $count } ikke bekreftet
count-dead_lettered = { $count } oppgitt
count-held = { $count } holdt tilbake
all-delivered = Alle synlighetsendringer er levert
all-delivered-at = Sjekket kl. { $at }.
as-of = Per kl. { $at }.
live-on = Siden fornyer seg selv.
live-off = Last siden på nytt for å se hva som er nytt.
more = Vis de neste
newest = Tilbake til de eldste
list-label = Likepersoner med ventende synlighetsendring, eldste først

mentor = Likeperson { $id }
mentor-title = Likeperson
back = Alle ventende endringer
should-be = Skal være
shown = Vises nå
since = Siden
why = Hvorfor den venter
why-settled = Status
next-try = Neste forsøk
tries = etter { $count } forsøk
last-delivered = Sist levert
never = Aldri
open-application = Åpne i applikasjonen
visible = Synlig
hidden = Skjult
unknown = Ikke sikkert
undecided = En person må avgjøre det
state-pending = Venter
state-in_doubt = Ikke bekreftet
state-dead_lettered = Oppgitt
state-held = Holdt tilbake
state-in_sync = Levert

why-paused = Administratoren har satt denne endringen på pause. Den sendes av seg selv når pausen er over; ingenting går tapt imens.
why-waiting = Den går ut så snart endringen har kommet fram: sekunder. Tar det lengre tid, spør administratoren.
why-under_way = Den blir levert akkurat nå.
why-retrying = { $error } Det prøves igjen av seg selv.
why-in_doubt = Dynamics sa ikke om den siste endringen trådte i kraft. Den sendes én gang til for å være sikker.
why-circuit_open = Dynamics svarer ikke. Endringen venter, og sendes av seg selv når Dynamics svarer igjen.
why-throttled = Dynamics har bedt om en pause. Endringen venter til den er over, og sendes av seg selv.
why-no_worker = Leveringstjenesten er ikke i gang. Administratoren må starte den; ingenting går tapt imens.
why-auth = Dynamics godtar ikke tjenestens pålogging. Administratoren må fornye den; ingenting går tapt imens.
why-dead_letter_limit = For mange endringer har mislyktes, så leveringen står til administratoren har sett på det.
why-halted = Leveringen er satt på pause. Administratoren vet hvorfor.
why-shadow = Levering til Dynamics er ikke slått på ennå: ingenting sendes.
why-held = Uvanlig mange likepersoner ville bli skjult på én gang, så dette venter til administratoren bekrefter det.
why-unmapped = Denne likepersonen har ingen kontakt i Dynamics ennå. Be administratoren om å koble til en.
why-refused = Likepersonens status eller sertifikat i applikasjonen er ukjent for denne tjenesten. Spør administratoren.
why-rejected = Dynamics avviste endringen. Be administratoren om å se på kontakten i Dynamics.
why-exhausted = Dynamics tok ikke imot endringen etter flere forsøk. Velg «Synkroniser nå» for å prøve igjen, eller spør administratoren.
why-in_sync = Ingenting venter for denne likepersonen.

next-due = nå
next-none = Straks
next-person = Når administratoren har handlet
next-return = Når leveringen går videre
next-you = Når du velger «Synkroniser nå»

error-server_error = Dynamics hadde en feil.
error-network_error = Dynamics kunne ikke nås.
error-rate_limited = Dynamics ba om en pause.
error-rejected = Dynamics avviste det.
error-not_found = Dynamics har ingen slik kontakt.
error-auth_failure = Dynamics godtok ikke tjenestens pålogging.
error-mentor_mapping = Likepersonen har ingen kontakt i Dynamics ennå.
error-other = Siste forsøk lyktes ikke.

sync = Synkroniser nå
sync-for = for likeperson { $id }
sync-reason = Hvorfor? Andre vil se det.
sync-hint = Ingen navn eller kontaktopplysninger, takk.
sync-reason-missing = Skriv hvorfor.
sync-too-long = Begrunnelsen er for lang: høyst 500 tegn.
sync-too-many = Du har spurt mer enn ti ganger på ett minutt. Prøv igjen om litt.
sync-unknown = Denne likepersonen er ikke kjent her.
sync-away = Databasen svarte ikke, så forespørselen ble ikke mottatt. Det du skrev, står her fortsatt: prøv igjen om litt.
sync-refused = Forespørselen ble ikke mottatt. Last siden på nytt og prøv igjen.
asked-you = Du spurte kl. { $at }: «{ $reason }»
asked-other = En annen koordinator spurte kl. { $at }: «{ $reason }»
asked-waiting = Forespørselen din fra kl. { $at } er mottatt. Resultatet kommer her av seg selv.
asked-done = Forespørselen din fra kl. { $at } er utført: Dynamics har endringen.
asked-done-nothing = Forespørselen din fra kl. { $at } er utført: det var ingenting å endre.
asked-failed = Forespørselen din fra kl. { $at } lyktes ikke. { $error }

deliveries-title = Siste leveringer
deliveries-none = Ingenting er levert for denne likepersonen ennå.
delivery-remove-applied = Skjult i portalen.
delivery-restore-applied = Gjort synlig i portalen.
delivery-remove-refused = Skjulingen lyktes ikke. { $error }
delivery-restore-refused = Synliggjøringen lyktes ikke. { $error }
delivery-remove-unknown = Skjuling ble forsøkt; usikkert om den trådte i kraft. { $error }
delivery-restore-unknown = Synliggjøring ble forsøkt; usikkert om den trådte i kraft. { $error }
delivery-remove-released = Skjulingen ble avbrutt før den ble sendt.
delivery-restore-released = Synliggjøringen ble avbrutt før den ble sendt.
delivery-because = Fordi { $trigger }.
trigger-status_change = likepersonens status ble endret
trigger-certification_change = sertifikatet ble endret
trigger-manual_coordinator_action = en koordinator ba om det
trigger-expiry = sertifikatet gikk ut
trigger-reconciliation = en jevnlig kontroll fant en forskjell
trigger-dead_letter_replay = administratoren lot det prøves på nytt
trigger-other = noe ved likepersonen ble endret
requests-of-mentor = Forespørsler for denne likepersonen

requests-title = Hva koordinatorer har bedt om
requests-lead = De nyeste forespørslene fra de siste 30 dagene: når, for hvem, av hvem og hvorfor.
requests-none = Ingen har bedt om noe ennå.
column-when = Når
column-mentor = Likeperson
column-who = Hvem
column-why = Hvorfor
who-you = Du
who-unknown = Applikasjonen
no-reason = Ingen grunn oppgitt

verdict-ok = Endringer leveres som vanlig.
verdict-lagging = Endringer leveres, men senere enn vanlig.
verdict-stalled = Leveringen venter, og går videre av seg selv.
verdict-circuit_open = Dynamics svarer ikke. Endringer som venter, sendes av seg selv når Dynamics svarer igjen; de som er oppgitt, trenger «Synkroniser nå» eller administratoren.
verdict-throttled = Dynamics har bedt om en pause. Endringer som venter, sendes av seg selv når den er over; de som er oppgitt, trenger «Synkroniser nå» eller administratoren.
verdict-stopped = Leveringen står til administratoren griper inn.
verdict-halted = Leveringen står til administratoren griper inn.
verdict-postgresql_down = Databasen svarer ikke. Det du ser, er fra tidligere; det går videre av seg selv.
verdict-mass_removal = Uvanlig mange likepersoner ville bli skjult på én gang. De venter til administratoren bekrefter; alle andre endringer sendes.

sign-in-title = Logg inn
sign-in-lead = Åpne denne siden fra applikasjonen, som logger deg inn av seg selv. Eller lim inn nøkkelen («token») du fikk av administratoren.
sign-in-label = Token
sign-in-button = Logg inn
sign-in-expired = Økten din er avsluttet. Logg inn igjen for å fortsette.
sign-in-refused = Denne nøkkelen godtas ikke. Be om en ny.
not-ours-title = Ingen tilgang
not-ours = Kontoen din hører ikke til organisasjonen som likepersonene her tilhører.

database-title = Databasen svarer ikke
database-away = Ingenting går tapt; siden går videre av seg selv når den er tilbake.
keys-title = Pålogging kan ikke kontrolleres akkurat nå
keys-away = Tjenesten kan ikke kontrollere hvem du er akkurat nå. Prøv igjen om et minutt.
not-found-title = Ikke funnet
not-found-mentor = Ingen likeperson med denne UUID-en er kjent her.
not-found-page = Siden finnes ikke.
try-again = Prøv igjen
said-expired = Økten din er avsluttet. Det du skrev, er tatt vare på.
said-expires-soon = Økten din slutter om to minutter. Logg inn igjen fra applikasjonen for å fortsette.
said-sign-in = Logg inn igjen
said-database = Databasen svarer ikke. Det du ser, er fra tidligere. Det går videre av seg selv.
said-service = Ingen forbindelse. Det du ser, er fra tidligere. Det går videre av seg selv når forbindelsen er tilbake.
said-back = Forbindelsen er tilbake; alt er oppdatert.
said-settled = Levert imens: ingenting venter lenger for denne likepersonen.
said-sending = Sender …
