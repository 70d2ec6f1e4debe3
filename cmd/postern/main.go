// Command postern is the gateway with its built-in filters.
package main

import "github.com/postern-mail/postern"

func main() { postern.Main() }
