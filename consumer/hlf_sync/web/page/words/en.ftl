# The page's words in English. nb.ftl has the same messages; tests/rooms/test_web_page_words.py compares them.

service = Portal visibility
skip = Skip to the content
navigation = Pages
nav-pending = Pending
nav-requests = Requests
languages = Language
sign-out = Sign out
find = Find a mentor
find-label = Mentor’s UUID
find-hint = For example 3f2a1b4c-5d6e-4f70-8a9b-0c1d2e3f4a5b
find-wrong = This is not a UUID. It has 32 digits and letters from a to f, usually with four hyphens.
find-button = Find

# Pending updates
pending-title = Pending visibility updates
pending-count = { $count ->
    [0] No visibility update is pending.
    [one] { $count } visibility update is pending.
   *[other] { $count } visibility updates are pending.
}
count-pending = { $count } waiting
count-in_doubt = { $count } not confirmed
count-dead_lettered = { $count } given up
count-held = { $count } held back
all-delivered = All visibility updates are delivered
all-delivered-at = Checked at { $at } ({ $place }).
as-of = As of { $at } ({ $place }).
times = All times are those of { $place }.
live-on = This page renews itself.
live-off = Reload the page to see what is new.
more = Show the next ones
newest = Back to the oldest ones
list-label = Mentors whose visibility update is pending, oldest first

# One mentor
mentor = Mentor { $id }
mentor-title = Mentor
back = All pending updates
should-be = Should be
shown = Is now
since = Since
why = Why it waits
why-settled = State
next-try = Next try
tries = { $count ->
    [one] after { $count } try
   *[other] after { $count } tries
}
last-delivered = Last delivered
never = Never
open-application = Open in the application
visible = Shown
hidden = Hidden
unknown = Not certain
undecided = A person must decide
state-pending = Waiting
state-in_doubt = Not confirmed
state-dead_lettered = Given up
state-held = Held back
state-in_sync = Delivered

why-paused = The administrator has paused this update for now. It goes out by itself when the pause ends; nothing is lost meanwhile.
why-waiting = It is about to be delivered.
why-unread = Changes are not read at the moment. This update waits, and goes out when they are read again; nothing is lost meanwhile.
why-late = It takes longer than usual. It goes out by itself; ask the administrator if it stays so.
why-under_way = It is being delivered right now.
why-retrying = { $error } It is tried again by itself.
why-in_doubt = Dynamics did not say whether the last change took effect. It is sent once more, to be certain.
why-circuit_open = Dynamics is not answering. This update waits, and goes out by itself when it answers again.
why-throttled = Dynamics has asked for a pause. This update waits until it is over, and goes out by itself.
why-no_worker = The delivery service is not running. The administrator must start it; nothing is lost meanwhile.
why-auth = Dynamics does not accept the service’s credentials. The administrator must renew them; nothing is lost meanwhile.
why-dead_letter_limit = Too many updates have failed, so deliveries are stopped until the administrator has looked.
why-halted = Deliveries are paused for now. The administrator knows why.
why-shadow = Delivery to Dynamics is not switched on yet: nothing is sent.
why-held = Unusually many mentors would be hidden at once, so this waits until the administrator confirms it.
why-unmapped = This mentor has no contact in Dynamics yet. Ask the administrator to link one.
why-refused = The mentor’s status or certificate in the application is not one that this service knows. Ask the administrator.
why-rejected = Dynamics refused this update. Ask the administrator to look at the contact in Dynamics.
why-exhausted = Dynamics did not take this update in several tries. Choose “Sync now” to try again, or ask the administrator.
why-in_sync = Nothing is pending for this mentor.

next-due = now
next-none = At once
next-person = When the administrator has acted
next-return = When deliveries go on
next-you = When you choose “Sync now”

error-server_error = Dynamics had an error.
error-network_error = Dynamics could not be reached.
error-rate_limited = Dynamics asked for a pause.
error-rejected = Dynamics refused it.
error-not_found = Dynamics has no such contact.
error-auth_failure = Dynamics did not accept the service’s credentials.
error-mentor_mapping = The mentor has no contact in Dynamics yet.
error-other = The last try did not succeed.

# Sync now
sync = Sync now
sync-for = for mentor { $id }
sync-reason = Why? Others will see it.
sync-hint = No names or contact details, please.
sync-reason-missing = Please say why.
sync-too-long = The reason is too long: 500 characters at most.
sync-too-many = You have asked more often than ten times a minute. Try again in a moment.
sync-unknown = This mentor is not known here.
sync-away = The database did not answer, so the request was not taken. What you wrote is still here: try again in a moment.
sync-refused = The request was not taken. Reload the page and try again.
asked-you = You asked at { $at }: “{ $reason }”
asked-other = Another coordinator asked at { $at }: “{ $reason }”
asked-operator = The administrator asked at { $at }: “{ $reason }”
asked-application = The application asked at { $at }: “{ $reason }”
asked-waiting = Your request of { $at } is taken. Its outcome appears here by itself.
asked-done = Your request of { $at } is done: Dynamics has the update.
asked-done-nothing = Your request of { $at } is done: there was nothing to change.
asked-failed = Your request of { $at } did not succeed. { $error }

# A mentor's history
deliveries-title = Last deliveries
deliveries-none = Nothing has been delivered for this mentor yet.
delivery-remove-applied = Hidden on the portal.
delivery-restore-applied = Shown on the portal.
delivery-remove-refused = Hiding failed. { $error }
delivery-restore-refused = Showing failed. { $error }
delivery-remove-unknown = Hiding was tried; not certain whether it took effect. { $error }
delivery-restore-unknown = Showing was tried; not certain whether it took effect. { $error }
delivery-remove-released = Hiding was called off before it was sent.
delivery-restore-released = Showing was called off before it was sent.
delivery-because = Because { $trigger }.
trigger-status_change = the mentor’s status changed
trigger-certification_change = the certificate changed
trigger-manual_coordinator_action = somebody asked for it
trigger-expiry = the certificate ran out
trigger-reconciliation = a regular check found a difference
trigger-dead_letter_replay = the administrator had it tried again
trigger-other = something about the mentor changed
requests-of-mentor = Requests for this mentor

# Requests
requests-title = What was asked for
requests-lead = The newest requests of the last 30 days: when, for whom, by whom and why.
requests-none = Nobody has asked for anything yet.
column-when = When
column-mentor = Mentor
column-who = Who
column-why = Why
who-you = You
who-application = The application
who-operator = The administrator ({ $name })
no-reason = No reason was given

# The service as a whole
verdict-ok = Updates are being delivered as usual.
verdict-lagging = Updates are being delivered, but later than usual.
verdict-stalled = Deliveries are waiting and go on by themselves.
verdict-dead_letters_open = Updates are being delivered as usual; those that were given up need “Sync now” or the administrator.
verdict-circuit_open = Dynamics is not answering. Updates that wait go out by themselves when it answers again; those that were given up need “Sync now” or the administrator.
verdict-throttled = Dynamics has asked for a pause. Updates that wait go out by themselves when it is over; those that were given up need “Sync now” or the administrator.
verdict-stopped = Deliveries are stopped until the administrator acts.
verdict-halted = Deliveries are stopped until the administrator acts.
verdict-postgresql_down = The database is not answering. What you see is from before; it goes on by itself.
verdict-mass_removal = Unusually many mentors would be hidden at once. Those wait until the administrator confirms; all other updates go out.
verdict-also-held = Besides, unusually many mentors would be hidden at once: those wait until the administrator confirms.
verdict-lagging-since = Updates are being delivered, but some take longer than usual (since { $since }).
verdict-stalled-since = Deliveries have been held up since { $since }. The administrator must look; nothing is lost meanwhile.
verdict-stopped-since = Deliveries have been stopped since { $since }, until the administrator acts. Nothing is lost meanwhile.
verdict-no_worker-since = The delivery service has not been heard of since { $since }. The administrator must look; nothing is lost meanwhile.
verdict-kafka_down-since = Changes are not read at the moment (Kafka is away since { $since }). Updates wait and go out by themselves.
verdict-registry_down-since = Changes are not read at the moment (the schema registry is away since { $since }). Updates wait and go out by themselves.
verdict-source_silent-since = Changes are not read at the moment (the connector is silent since { $since }). Updates wait and go out by themselves.
verdict-connector_failed-since = Changes are not read at the moment (the connector has failed, since { $since }). The administrator must act; updates wait, and nothing is lost.
verdict-connector_paused-since = Changes are not read at the moment (the administrator has stopped the connector, since { $since }). Updates wait, and nothing is lost.
verdict-slot_lost-since = Changes are not read at the moment (the connector has lost its place, since { $since }). The administrator must act; updates wait, and nothing is lost.
verdict-source_broken-since = Changes are not read at the moment (the database is not set up as it must be, since { $since }). The administrator must act; updates wait, and nothing is lost.
verdict-database_changed-since = Changes are not read at the moment (the database was replaced, since { $since }). The administrator must act; updates wait, and nothing is lost.
verdict-consumer_failed-since = Changes are not read at the moment (Kafka refuses the delivery service, since { $since }). The administrator must act; updates wait, and nothing is lost.
verdict-unassigned-since = Changes are not read at the moment (Kafka gives the delivery service nothing to read, since { $since }). The administrator must act; updates wait, and nothing is lost.
verdict-thread_stuck-since = Changes are not read at the moment (the delivery service is stuck, since { $since }). The administrator must act; updates wait, and nothing is lost.

# Signing in
sign-in-title = Sign in
sign-in-lead = Open this page from the application, which signs you in by itself. Or paste the token that the administrator gave you.
sign-in-label = Token
sign-in-button = Sign in
sign-in-expired = Your session has ended. Sign in again to go on.
sign-in-refused = This token is not accepted. Ask for a new one.
not-ours-title = No access
not-ours = Your account does not belong to the organisation whose mentors are shown here.

# Trouble
database-title = The database is not answering
database-away = Nothing is lost; this page goes on by itself when it is back.
keys-title = Sign-in cannot be checked at the moment
keys-away = The service cannot check who you are at the moment. Try again in a minute.
not-found-title = Not found
not-found-mentor = No mentor with this UUID is known here.
not-found-page = There is no such page.
try-again = Try again
said-expired = Your session has ended. What you wrote is kept.
said-expires-soon = Your session ends in two minutes. Sign in again from the application to go on.
said-sign-in = Sign in again
said-database = The database is not answering. What you see is from before. It goes on by itself.
said-service = No connection. What you see is from before. It goes on by itself when the connection is back.
said-back = The connection is back; everything is up to date.
said-settled = Delivered meanwhile: nothing is pending for this mentor any more.
said-sending = Sending…
