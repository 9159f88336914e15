module example.invalid/lantern

go 1.24
