# Without a length, the end of the connection ends the content; a break looks alike (RFC 9112 §8). It is passed on as it comes.

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  Content-Length absent
  | hello
client begins
origin closes
client sees 200
  | hello

restart?

client sends GET /page
client sees 200
  | hello
