#!/usr/bin/env python3
# An example of a program that the filter "http" asks: it marks mail whose subject shouts, and refuses one sender.
import email, json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Check(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        head, _, message = self.rfile.read(int(self.headers["Content-Length"])).partition(b"\n")
        envelope, answer = json.loads(head), {}
        subject = str(email.message_from_bytes(message).get("Subject", ""))
        if subject.isupper():
            answer["findings"] = [{"symbol": "SHOUTS", "strength": 1, "detail": subject}]
        if envelope["from"] == "nobody@client.test":
            answer.update(propose="reject", reply={"code": 550, "text": "we do not know you"})
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Check).serve_forever()
