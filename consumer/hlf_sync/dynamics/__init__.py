"""Dynamics out: requests, answers, tokens. The only room that knows msal, with a transport of its
own behind httpx's interface; it decides nothing about mentors.
"""
