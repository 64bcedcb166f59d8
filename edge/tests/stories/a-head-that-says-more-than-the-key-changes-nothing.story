# A HEAD that reaches the origin with what the key does not tell, or with somebody's cookies, says nothing about what others get.

site
  [cache]
  profile = "rfc"
  key = { ignore_parameters = ["utm_*"] }

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  Link: </page>; rel=canonical
  | hello
client sees 200

restart?

client sends HEAD /page?utm_source=evil
  If-Match: *
origin sees HEAD /page?utm_source=evil
origin answers 200
  Cache-Control: max-age=1000
  Link: </page?utm_source=evil>; rel=canonical
  Content-Length: 5
client sees 200

client sends HEAD /page
  If-Match: *
  X-HTTP-Method-Override: OPTIONS
origin sees HEAD /page
origin answers 200
  Link: </options>; rel=canonical
  Content-Length: 0
client sees 200

client sends HEAD /page
  If-Match: *
  Cookie: user=alice
origin sees HEAD /page
  Cookie: user=alice
origin answers 200
  Cache-Control: max-age=1000
  Link: </alice>; rel=canonical
  Content-Length: 5
client sees 200

client sends GET /page
client sees 200
  Cache-Status has hit
  Link: </page>; rel=canonical
  | hello
