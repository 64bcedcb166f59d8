# "*" matches whatever is stored (RFC 9110 §13.1.2). Lists match weakly, and win over dates.

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  ETag: "v1"
  Last-Modified: {now-1d}
  Content-Type: text/plain
  | hello
client sees 200

restart?

client sends GET /page
  If-None-Match: *
client sees 304
  ETag: "v1"
  Cache-Control: max-age=60
  Content-Length absent
  no content

client sends GET /page
  If-None-Match: "v0", W/"v1"
client sees 304

client sends GET /page
  If-None-Match: "v0"
client sees 200
  | hello

client sends GET /page
  If-None-Match: "v0"
  If-Modified-Since: {now}
client sees 200
  | hello

client sends GET /page
  If-Modified-Since: {now-1d}
client sees 304

client sends GET /page
  If-Modified-Since: {now-2d}
client sees 200

# Even without any validator of its own, the stored response is there.
client sends GET /plain
origin sees GET /plain
origin answers 200
  Cache-Control: max-age=60
client sees 200

client sends GET /plain
  If-None-Match: *
client sees 304
