# What was purged hard is gone and stays so, though the edge ends as in a power failure right after; purged softly it is validated first.

client sends GET /hard
origin sees GET /hard
origin answers 200
  Cache-Control: max-age=600
  ETag: "v1"
  | old
client sees 200
client sends GET /soft
origin sees GET /soft
origin answers 200
  Cache-Control: max-age=600
  ETag: "v1"
  | old
client sees 200
client sends GET /kept
origin sees GET /kept
origin answers 200
  Cache-Control: max-age=600
  | kept
client sees 200

restart?

purge hard url /hard
purge soft url /soft
kill?

client sends GET /hard
origin sees GET /hard
  If-None-Match absent
origin answers 200
  Cache-Control: max-age=600
  | new
client sees 200
  | new
client sends GET /soft
origin sees GET /soft
  If-None-Match: "v1"
origin answers 304
client sees 200
  | old
client sends GET /kept
client sees 200
  Cache-Status has hit
  | kept
