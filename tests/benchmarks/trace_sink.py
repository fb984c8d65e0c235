"""Takes what an exporter of OTLP over HTTP sends, and throws it away. ``python -m tests.benchmarks.trace_sink`` prints
the address that it listens at."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer


class _Sink(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


if __name__ == "__main__":
    with HTTPServer(("127.0.0.1", 0), _Sink) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
