# Content in a transfer coding that nobody knows cannot be delimited: 502, and nothing is stored.

without disk: nothing is stored

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  Transfer-Encoding: rot13
  Content-Length absent
  | uryyb
client sees 502
  Cache-Control has no-store
origin closes

client sends GET /page
origin sees GET /page
origin answers 200
client sees 200
