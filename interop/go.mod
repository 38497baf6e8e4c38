module example.org/postroad/interop

go 1.22

require ergo.services/ergo v1.999.310
