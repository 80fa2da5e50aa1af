"""A Flask service that a proxy asks whether a request may go on, as Authelia and oauth2-proxy are asked, and the
application behind it, which knows its users by a field alone.
"""

from urllib.parse import quote

from flask import Flask, redirect, request, session

app = Flask(__name__)
app.secret_key = "only for tests"


@app.get("/auth/verify")
def verify():
    """2xx for who has logged in; others are sent to the login page and back."""
    name = session.get("name")
    if not name:
        scheme = request.headers["X-Forwarded-Proto"]
        host = request.headers["X-Forwarded-Host"]
        uri = request.headers["X-Forwarded-Uri"]
        return redirect(f"/auth/login?rd={quote(f'{scheme}://{host}{uri}', safe='')}")
    if request.headers["X-Forwarded-Uri"].startswith("/admin/") and name != "ada":
        return "for ada only\n", 403
    return "", 204, {"Remote-User": name}


@app.post("/auth/login")
def login():
    session["name"] = request.form["name"]
    return redirect(request.args["rd"])


@app.get("/<path:page>")
def page(page):
    """A page that may be kept, as careless as applications are that sit behind a login."""
    user = request.headers.get("Remote-User", "nobody")
    return f"{page} of {user}\n", 200, {"Cache-Control": "max-age=60"}
