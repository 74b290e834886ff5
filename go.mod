module github.com/routerd/routerd

go 1.26.0
