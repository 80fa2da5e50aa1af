"""A Django site with sessions: a front page for everybody, and a greeting for who has logged in.

Django says `Vary: Cookie` by itself wherever a view has looked at the session. One file, with its settings.
"""

import os
from pathlib import Path

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from django.utils.cache import patch_cache_control

settings.configure(
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.http.ConditionalGetMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
    ],
    INSTALLED_APPS=["django.contrib.sessions"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)
_views = Path(os.environ["MEMBERS_VIEWS"])


def _count(request):
    with _views.open("a") as views:
        views.write(request.get_full_path() + "\n")


def front(request):
    """The same for everybody who is not logged in, and says so."""
    _count(request)
    name = request.session.get("name")
    answer = HttpResponse(f"Hello, {name}!" if name else "Hello, whoever you are!")
    if name:
        patch_cache_control(answer, private=True)
    else:
        patch_cache_control(answer, public=True, max_age=60)
    return answer


def careless(request):
    """A view that knows nothing of caches, as most do: only `Vary: Cookie`, which Django adds."""
    _count(request)
    return HttpResponse(f"Your basket, {request.session.get('name', 'nobody')}")


def shared(request):
    """A view that varies by cookie and may be stored: one copy for each session."""
    _count(request)
    answer = HttpResponse(f"Offers for {request.session.get('name', 'nobody')}")
    patch_cache_control(answer, max_age=60)
    return answer


def login(request, name):
    _count(request)
    request.session["name"] = name
    return HttpResponse(f"Logged in as {name}")


urlpatterns = [
    path("", front),
    path("basket", careless),
    path("offers", shared),
    path("login/<name>", login),
]
app = get_wsgi_application()
