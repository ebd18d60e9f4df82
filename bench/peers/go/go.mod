module bunix.bench/echo

go 1.19
