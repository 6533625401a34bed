"""A worker in plain Python that answers in capitals: python http_worker.py URL TOKEN."""

import json
import sys
from urllib.request import Request, urlopen


def call(path, body=None):
    headers = {"Authorization": f"Bearer {sys.argv[2]}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body else None
    with urlopen(Request(sys.argv[1] + path, data, headers)) as answer:
        return json.loads(answer.read() or "null")


while True:
    if task := call("/api/v1/tasks/next?task_name=shout&worker=shouter&wait=20"):
        text = task["inputs"]["Transcript"]["text"].upper()
        result = {"claim": task["claim"], "status": "completed", "result_profile": {"text": text}}
        call(f"/api/v1/tasks/{task['id']}/result", result)
