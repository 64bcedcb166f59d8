# Selecting fields are compared without regard to white space, lines of a list, or the case of language tags; and no further (RFC 9111 §4.1).

client sends GET /page
  Accept-Language: en, de;q=0.5
origin sees GET /page
origin answers 200
  Cache-Control: max-age=600
  Vary: Accept-Language
  | hello
client sees 200

restart?

client sends GET /page
  Accept-Language: EN,de;q=0.5
client sees 200
  Cache-Status has hit
client sends GET /page
  Accept-Language: en
  Accept-Language: de;q=0.5
client sees 200
  Cache-Status has hit

client sends GET /page
  Accept-Language: de
origin sees GET /page
origin answers 200
  Cache-Control: max-age=600
  Vary: Accept-Language
  | hallo
client sees 200
  Cache-Status has fwd=vary-miss
  | hallo

# Vary: * is for this request alone, in whatever place.
client sends GET /star
origin sees GET /star
origin answers 200
  Cache-Control: max-age=600
  Vary: Accept, *
client sees 200
client sends GET /star
origin sees GET /star
origin answers 200
client sees 200
