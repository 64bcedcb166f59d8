# Requests that come while a fetch for the same is under way wait for it and read along (RFC 9111 §4).

client a sends GET /page
origin sees GET /page
client b sends GET /page
client b waits
client c sends GET /page
client c waits
origin answers 200
  Cache-Control: max-age=60
  | hello
client a sees 200
  Cache-Status has fwd=uri-miss
  Cache-Status lacks collapsed
  | hello
client b sees 200
  Cache-Status has collapsed
  | hello
client c sees 200
  Cache-Status has collapsed
  | hello

restart?

client sends GET /page
client sees 200
  Cache-Status has hit
  | hello
