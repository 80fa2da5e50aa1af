"""Large files with ranges, as Flask sends them: from MEDIA_ROOT, with ETag, Last-Modified and 206."""

import os

from flask import Flask, Response, send_from_directory

app = Flask(__name__)

# Seeks to three quarters of the film, lets it play a moment, and tells /seen what became of it.
_PAGE = """<!doctype html>
<title>film</title>
<video id="film" muted preload="metadata" src="/tone.wav"></video>
<script>
const film = document.getElementById("film");
const tell = (what) => fetch("/seen?" + new URLSearchParams({ what, at: film.currentTime, of: film.duration }));
film.addEventListener("error", () => tell("error " + film.error.code + " " + film.error.message));
film.addEventListener("loadedmetadata", () => { film.currentTime = film.duration * 0.75; }, { once: true });
film.addEventListener("seeked", () => {
  const from = film.currentTime;
  film.addEventListener("timeupdate", function played() {
    if (film.currentTime > from) { film.removeEventListener("timeupdate", played); film.pause(); tell("played"); }
  });
  film.play().catch((error) => tell("error " + error));
}, { once: true });
</script>
"""


@app.get("/")
def page():
    return Response(_PAGE, mimetype="text/html")


@app.get("/<path:name>")
def media(name):
    answer = send_from_directory(os.environ["MEDIA_ROOT"], name, conditional=True, max_age=3600)
    # Nothing here is anybody's own.
    answer.headers["Cache-Control"] = "public, max-age=3600"
    return answer
