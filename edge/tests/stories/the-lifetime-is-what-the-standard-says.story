# s-maxage before max-age before Expires; a broken Expires is in the past; several are, too (RFC 9111 §4.2.1, §5.3).

client sends GET /s-maxage
origin sees GET /s-maxage
origin answers 200
  Cache-Control: max-age=10, s-maxage=100
  Expires: {now+1h}
client sees 200
client sends GET /max-age
origin sees GET /max-age
origin answers 200
  Cache-Control: max-age=100
  Expires: {now-1h}
client sees 200
client sends GET /expires
origin sees GET /expires
origin answers 200
  Date: {now-10s}
  Expires: {now+100s}
client sees 200
client sends GET /broken
origin sees GET /broken
origin answers 200
  Expires: 0
  ETag: "v1"
client sees 200
client sends GET /quoted
origin sees GET /quoted
origin answers 200
  Cache-Control: max-age="100"
client sees 200

advance 50s
restart?

client sends GET /s-maxage
client sees 200
  Cache-Status has ttl=50
client sends GET /max-age
client sees 200
  Cache-Status has ttl=50
client sends GET /expires
client sees 200
  Age: 60
  Cache-Status has ttl=50
client sends GET /quoted
client sees 200
  Cache-Status has ttl=50
client sends GET /broken
origin sees GET /broken
  If-None-Match: "v1"
origin answers 304
client sees 200
