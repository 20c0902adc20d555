// Package azuretest has Azure's side of the conversation, for tests over real
// connections: the identity endpoints of App Service and of virtual machines,
// the Microsoft Entra authority, a Key Vault, the command az, and the host of
// Azure Functions. Each does what the real one does on the wire, and what a
// test tells it to.
//
// All servers listen on 127.0.0.1. Those that speak TLS sign their own
// certificate; Client returns a client that trusts it and that reaches the
// server under its real name.
package azuretest
