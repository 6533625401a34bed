"""The Django app of the records."""

from django.apps import AppConfig


class ServerConfig(AppConfig):
    """Tables are named `turnlab_*`, whatever the package is called."""

    name = "turnlab.server"
    label = "turnlab"
    verbose_name = "Turnlab"
