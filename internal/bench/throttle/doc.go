// Package throttle runs clients against a service that limits its rate, and
// counts what that costs: how many calls fail, how often a call is sent, how
// long the calls take, and how much of the limit is used.
//
// A [Scenario] says what the service lets through and who calls. [Run] puts one
// [Contender] through it, over a [Network]: [Loopback] is net/http, in real
// time; [Memory] needs no socket, so that in a testing/synctest bubble a run of
// a minute takes milliseconds. [Ideal] is what a client could reach that knows
// the limit and serves its callers first come, first served.
package throttle
