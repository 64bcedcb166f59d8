# An answer for one client teaches that the next ones will be, too: their requests go to the origin at once, beside each other. The lesson is
# forgotten after two minutes, or when an answer may be stored after all.

without disk: what was learned is not kept over a restart

client sends GET /mine
origin sees GET /mine
origin answers 200
  Cache-Control: private
client sees 200
  Cache-Status has detail=private

client a sends GET /mine
origin a sees GET /mine
client b sends GET /mine
origin b sees GET /mine
origin b answers 200
  Cache-Control: private
  | for b
client b sees 200
  Cache-Status lacks collapsed
  | for b
origin a answers 200
  Cache-Control: private
  | for a
client a sees 200
  | for a

# Others are not touched.
client a sends GET /other
origin sees GET /other
client b sends GET /other
client b waits
origin answers 200
  Cache-Control: max-age=60
client a sees 200
client b sees 200
  Cache-Status has collapsed

advance 121s
client a sends GET /mine
origin sees GET /mine
client b sends GET /mine
client b waits
origin answers 200
  Cache-Control: max-age=60
  | for all
client a sees 200
  | for all
client b sees 200
  | for all
client sends GET /mine
client sees 200
  Cache-Status has hit
