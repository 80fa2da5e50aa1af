"""The list of images of a small shop, built anew for each request by asking every image for its size: 19 s of it.

That is the page that Forebay was made for. IMAGES_SECONDS says how long a list takes (a test has less time than a shop's
customers), `?seconds=` says it for one request. Each list that is begun is a line in IMAGES_BUILDS.
"""

import os
import time
from pathlib import Path

from flask import Flask, jsonify, request

app = Flask(__name__)
_builds = Path(os.environ["IMAGES_BUILDS"])
_seconds = float(os.environ.get("IMAGES_SECONDS", "19"))
_images = 190


@app.get("/images")
def images():
    # Appended, so that it counts whichever worker is asked.
    with _builds.open("a") as builds:
        builds.write(f"{request.full_path}\n")
    seconds = request.args.get("seconds", _seconds, float)

    images = []
    for number in range(_images):
        time.sleep(seconds / _images)
        images.append({"name": f"image-{number:03}.jpg", "width": 640 + number})
    answer = jsonify(images=images)
    if not request.args.get("private"):
        answer.headers["Cache-Control"] = "max-age=300"
    else:
        answer.headers["Cache-Control"] = "no-store"
    return answer
