// Package hashivault is a placeholder until its documentation below.
package hashivault
