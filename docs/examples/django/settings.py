"""The settings of the Django project: the least that it starts with."""

import os

SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db"}}
INSTALLED_APPS = ["inbox"]
ROOT_URLCONF = "inbox.urls"
