# The answer to a request with Authorization is for its client, unless public, s-maxage or must-revalidate says otherwise (RFC 9111 §3.5).

client sends GET /mine
  Authorization: Basic eDp5
origin sees GET /mine
  Authorization: Basic eDp5
origin answers 200
  Cache-Control: max-age=60
  | for x
client sees 200
  Cache-Status has detail=authorization

client sends GET /public
  Authorization: Basic eDp5
origin sees GET /public
origin answers 200
  Cache-Control: max-age=60, public
  | for all
client sees 200
  Cache-Status has stored

client sends GET /open
origin sees GET /open
origin answers 200
  Cache-Control: max-age=60
  | for all
client sees 200

restart?

client sends GET /mine
origin sees GET /mine
  Authorization absent
origin answers 401
  Cache-Control: no-store
client sees 401

client sends GET /public
client sees 200
  Cache-Status has hit

# What is stored for all, but not declared so, is not the answer to an authorized request.
client sends GET /open
  Authorization: Basic eDp5
origin sees GET /open
  Authorization: Basic eDp5
origin answers 200
  Cache-Control: private
  | for x
client sees 200
  | for x
