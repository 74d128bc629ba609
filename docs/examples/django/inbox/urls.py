"""The pages of the site."""

from django.http import HttpRequest, JsonResponse
from django.urls import path

from inbox.models import Message


def list_messages(_request: HttpRequest) -> JsonResponse:
    """Show what has come."""
    return JsonResponse(list(Message.objects.values()), safe=False)


urlpatterns = [path("messages", list_messages)]
