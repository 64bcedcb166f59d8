# A successful POST invalidates its target, and what Location and Content-Location name on the same origin; not what they name elsewhere
# (RFC 9111 §4.4).

client sends GET /target
origin sees GET /target
origin answers 200
  Cache-Control: max-age=600
  | 1
client sees 200
client sends GET /location
origin sees GET /location
origin answers 200
  Cache-Control: max-age=600
  | 1
client sees 200
client sends GET /content-location
origin sees GET /content-location
origin answers 200
  Cache-Control: max-age=600
  | 1
client sees 200
client sends GET /elsewhere
origin sees GET /elsewhere
origin answers 200
  Cache-Control: max-age=600
  | 1
client sees 200

client sends POST /target
  | content
origin sees POST /target
origin answers 201
  Location: {site}/location
  Content-Location: /content-location
client sees 201

restart?

client sends GET /target
origin sees GET /target
origin answers 200
  Cache-Control: max-age=600
  | 2
client sees 200
  | 2
client sends GET /location
origin sees GET /location
origin answers 200
  Cache-Control: max-age=600
  | 2
client sees 200
client sends GET /content-location
origin sees GET /content-location
origin answers 200
  Cache-Control: max-age=600
  | 2
client sees 200

client sends POST /other-target
  | content
origin sees POST /other-target
origin answers 201
  Location: http://other.test/elsewhere
  Content-Location: {site}:8080/elsewhere
client sees 201

# A failure changes nothing.
client sends POST /elsewhere
  | content
origin sees POST /elsewhere
origin answers 400
client sees 400

client sends GET /elsewhere
client sees 200
  Cache-Status has hit
  | 1
