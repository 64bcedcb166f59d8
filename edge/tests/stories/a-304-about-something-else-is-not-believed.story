# A 304 that names another entity tag is not about what is stored: the origin is asked again, without conditions (RFC 9111 §4.3.4).

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  ETag: "v1"
  | one
client sees 200

advance 61s
restart?

client sends GET /page
origin sees GET /page
  If-None-Match: "v1"
origin answers 304
  Cache-Control: max-age=60
  ETag: "v2"
origin sees GET /page
  If-None-Match absent
origin answers 200
  Cache-Control: max-age=60
  ETag: "v2"
  | two
client sees 200
  | two

client sends GET /page
client sees 200
  Cache-Status has hit
  | two

# Nor is one that names a strong entity tag for content that came without any: nobody said that it is this content's.

client sends GET /plain
origin sees GET /plain
origin answers 200
  Cache-Control: max-age=60
  Last-Modified: {now-1d}
  | one
client sees 200

advance 61s

client sends GET /plain
origin sees GET /plain
  If-None-Match absent
origin answers 304
  Cache-Control: max-age=60
  ETag: "v1"
origin sees GET /plain
  If-Modified-Since absent
origin answers 200
  Cache-Control: max-age=60
  ETag: "v2"
  | two
client sees 200
  ETag: "v2"
  | two
