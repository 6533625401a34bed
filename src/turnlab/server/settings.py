"""Django's settings for records. Importing them reads the environment and touches no file.

What serving people needs besides is in `settings_service`.
"""

from __future__ import annotations

import os
from typing import Any

from django.utils.functional import lazy

from turnlab.home import home_folder
from turnlab.server.databases import database_settings
from turnlab.server.secret import secret_key

TURNLAB_HOME = home_folder()

# Made on first use: keeping and reading records signs nothing.
SECRET_KEY = lazy(secret_key, str)()

INSTALLED_APPS = ["turnlab.server"]
# A row is found by its own id; audit entries alone are counted.
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
# How the process logs is up to the program, not to Django; unconfigured, errors go to stderr.
LOGGING_CONFIG = None

DATABASES: dict[str, dict[str, Any]] = {
    "default": database_settings(os.environ.get("DATABASE_URL", ""), TURNLAB_HOME)
}

MEDIA_ROOT = TURNLAB_HOME / "media"
STORAGES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        # A sound whose writing failed half-way is written again under the same name.
        "OPTIONS": {"allow_overwrite": True},
    },
}
# Recordings of people: for this user alone.
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700
