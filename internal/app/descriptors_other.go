//go:build !unix

package app

// placesFor gives how many connections of clients the system allows: any number.
func placesFor() int { return 0 }
