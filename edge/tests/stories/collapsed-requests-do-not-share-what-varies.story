# Who waited for a fetch gets its answer only if it is the answer to its own request, too: the selecting fields are known with the answer.

client english sends GET /page
  Accept-Language: en
origin english sees GET /page
  Accept-Language: en
client british sends GET /page
  Accept-Language: EN
client british waits
client german sends GET /page
  Accept-Language: de
client german waits
origin english answers 200
  Cache-Control: max-age=60
  Vary: Accept-Language
  | hello
client english sees 200
  | hello
client british sees 200
  Cache-Status has collapsed
  | hello
origin german sees GET /page
  Accept-Language: de
origin german answers 200
  Cache-Control: max-age=60
  Vary: Accept-Language
  | hallo
client german sees 200
  | hallo

restart?

client sends GET /page
  Accept-Language: en
client sees 200
  Cache-Status has hit
  | hello
