"""Django's settings for a service that people and clients reach: those of records, and these.

Importing them reads the environment and touches no file.
"""

from __future__ import annotations

from typing import Any

from turnlab.server.config import config
from turnlab.server.settings import *  # noqa: F403 -- one set of settings goes on from the other

_config = config()
_https = _config.public_url.startswith("https://")
_MIB = 1 << 20

DEBUG = _config.debug
ALLOWED_HOSTS = list(_config.hosts)
ROOT_URLCONF = "turnlab.server.urls"
LANGUAGE_CODE = "en-gb"

INSTALLED_APPS = [
    "turnlab.server",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "ninja",  # so that the pages of the API load nothing from elsewhere
]

MIDDLEWARE = [
    "turnlab.server.middleware.observed",  # first, so that it times all
    "django.middleware.security.SecurityMiddleware",
    "turnlab.server.headers.SecurityHeaders",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# For tokens and signed links: nothing that needs a thread, see asgi.
PROGRAMS_MIDDLEWARE = [
    "turnlab.server.middleware.observed",
    "turnlab.server.middleware.known_host",
    "turnlab.server.headers.SecurityHeaders",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

STATIC_URL = "/static/"
MEDIA_URL = "/media/"
STORAGES = {
    **STORAGES,  # noqa: F405
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

AUTHENTICATION_BACKENDS = ["turnlab.server.login.LimitedBackend"]
# The first makes new hashes; the second reads those of other installations.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
_VALIDATION = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": f"{_VALIDATION}.UserAttributeSimilarityValidator"},
    {"NAME": f"{_VALIDATION}.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": f"{_VALIDATION}.CommonPasswordValidator"},
    {"NAME": f"{_VALIDATION}.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

# Names of their own: cookies of one host are shared by all ports of it.
SESSION_COOKIE_NAME = "turnlab_session"
CSRF_COOKIE_NAME = "turnlab_csrf"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
CSRF_TRUSTED_ORIGINS = [
    origin for origin in (_config.public_url, *_config.trusted_origins) if origin
]

# To the browser alone: the proxy in front is the one to send people from http to https, and other
# API processes reach this one by http.
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _https else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Requests that are read into memory; files of a form go to the disk and are measured as they come.
DATA_UPLOAD_MAX_MEMORY_SIZE = _config.max_upload_mib * _MIB
DATA_UPLOAD_MAX_NUMBER_FILES = 20
