module example.org/postroad/interop

go 1.23

require ergo.services/ergo v1.999.311-0.20251113174250-553c078e2513
