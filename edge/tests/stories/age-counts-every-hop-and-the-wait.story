# A cache behind the edge says how old its answer was; the edge adds how long it waited for it and has had it (RFC 9111 §4.2.3).

client sends GET /page
origin sees GET /page
advance 4s
origin answers 200
  Cache-Control: max-age=60
  Age: 30
  Via: 1.1 inner
  | hello
client sees 200
  Age: 34
  Via: 1.1 inner, 1.1 edge1

advance 6s
restart?

client sends GET /page
client sees 200
  Age: 40
  Cache-Status has ttl=20
  Via: 1.1 inner, 1.1 edge1

advance 21s
client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
client sees 200
  Age: 0
