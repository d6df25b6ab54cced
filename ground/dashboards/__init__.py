"""Grafana dashboards, Prometheus rules and runbooks, made from the dictionary.

``panels`` writes Grafana's JSON, ``boards`` says what is on which dashboard, ``rules`` what is recorded and when
somebody is called, ``runbooks`` what to do then; ``files`` puts all of it where it is deployed from.
"""
