# The origin says nothing of freshness: a tenth of the time since the last change is taken (RFC 9111 §4.2.2); without a date of change, nothing.

client sends GET /page
origin sees GET /page
origin answers 200
  Last-Modified: {now-1000s}
  | hello
client sees 200
client sends GET /undated
origin sees GET /undated
origin answers 200
  ETag: "v1"
client sees 200

advance 99s
restart?

client sends GET /page
client sees 200
  Cache-Status has ttl=1
client sends GET /undated
origin sees GET /undated
  If-None-Match: "v1"
origin answers 304
client sees 200

advance 2s
client sends GET /page
origin sees GET /page
  If-Modified-Since present
  If-None-Match absent
origin answers 304
client sees 200

# Statuses for which nothing may be guessed.
client sends GET /moved
origin sees GET /moved
origin answers 302
  Last-Modified: {now-1000s}
  Location: /page
client sees 302
client sends GET /moved
origin sees GET /moved
origin answers 302
client sees 302
