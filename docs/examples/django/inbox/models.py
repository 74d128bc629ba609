"""What the site keeps of a message."""

from django.db import models


class Message(models.Model):
    """A message that has come; the event's id keeps it from being there twice."""

    event = models.CharField(max_length=64, primary_key=True)
    subject = models.TextField()
    kind = models.CharField(max_length=64)
