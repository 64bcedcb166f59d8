# no-store, private, and what has neither a lifetime nor a validator: for its client, and gone.

without disk: nothing is stored

client sends GET /no-store
origin sees GET /no-store
origin answers 200
  Cache-Control: no-store, max-age=60
  ETag: "v1"
client sees 200
  Cache-Status has detail=no-store
client sends GET /no-store
origin sees GET /no-store
  If-None-Match absent
origin answers 200
client sees 200

client sends GET /private
origin sees GET /private
origin answers 200
  Cache-Control: private, max-age=60
client sees 200
  Cache-Status has detail=private
client sends GET /private
origin sees GET /private
origin answers 200
client sees 200

client sends GET /nothing
origin sees GET /nothing
origin answers 200
client sees 200
  Cache-Status has detail=no-freshness
client sends GET /nothing
origin sees GET /nothing
origin answers 200
client sees 200
