"""Dynamics out: requests, answers, tokens. The only room that knows httpx and msal; it decides
nothing about mentors.
"""
