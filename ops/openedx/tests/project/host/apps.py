"""Does at start what edx-platform's own plugins app does."""

from django.apps import AppConfig
from django.conf import settings


class HostConfig(AppConfig):
    name = "host"

    def ready(self):
        if settings.AS_PLUGIN:
            from edx_django_utils.plugins import connect_plugin_receivers

            connect_plugin_receivers(settings.PROJECT_TYPE)
