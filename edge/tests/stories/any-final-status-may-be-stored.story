# A status is no hindrance when freshness is explicit, an unknown one neither (RFC 9111 §3). must-understand stores only what is understood.

client sends GET /gone
origin sees GET /gone
origin answers 410
  Cache-Control: max-age=60
  | gone
client sees 410
client sends GET /unknown
origin sees GET /unknown
origin answers 599
  Cache-Control: max-age=60
  | what
client sees 599
client sends GET /failed
origin sees GET /failed
origin answers 500
  Cache-Control: max-age=60
client sees 500
client sends GET /understood
origin sees GET /understood
origin answers 200
  Cache-Control: max-age=60, must-understand, no-store
client sees 200
client sends GET /misunderstood
origin sees GET /misunderstood
origin answers 599
  Cache-Control: max-age=60, must-understand
client sees 599
client sends GET /empty
origin sees GET /empty
origin answers 204
  Cache-Control: max-age=60
client sees 204
  Content-Length absent
  no content

restart?

client sends GET /gone
client sees 410
  Cache-Status has hit
  | gone
client sends GET /unknown
client sees 599
  Cache-Status has hit
  | what
client sends GET /failed
client sees 500
  Cache-Status has hit
client sends GET /understood
client sees 200
  Cache-Status has hit
client sends GET /misunderstood
origin sees GET /misunderstood
origin answers 599
client sees 599
client sends GET /empty
client sees 204
  Cache-Status has hit
  no content
