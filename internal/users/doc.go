// Package users knows who may send through the gateway: by name and password, out of a file that administrators keep,
// or by a certificate. It speaks no protocol, and decides nothing about mail.
package users
