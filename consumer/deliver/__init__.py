"""Dynamics out: tokens, requests, answers. The only room that knows httpx, aiohttp and msal; it decides nothing about mentors."""
