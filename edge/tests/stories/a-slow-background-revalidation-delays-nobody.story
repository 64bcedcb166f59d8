# Within stale-while-revalidate the stored response answers at once, and one revalidation runs beside it however many ask (RFC 5861 §3).

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60, stale-while-revalidate=600
  ETag: "v1"
  | old
client sees 200

advance 61s
restart?

client a sends GET /page
client a sees 200
  Age: 61
  Cache-Status has detail=stale-while-revalidate
  | old
origin sees GET /page
  If-None-Match: "v1"

# The origin takes its time.
client b sends GET /page
client b sees 200
  | old
advance 100s
client c sends GET /page
client c sees 200
  Age: 161
  | old

# It is as old as it took to come.
origin answers 200
  Cache-Control: max-age=600
  ETag: "v2"
  | new

restart?
client sends GET /page
client sees 200
  Cache-Status has hit
  Age: 100
  | new
