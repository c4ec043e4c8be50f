module example.invalid/publish

go 1.22
