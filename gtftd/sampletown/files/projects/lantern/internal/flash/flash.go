// Package flash turns text into pulses.
package flash

import "time"

// Unit is the length of a dot.
const Unit = 200 * time.Millisecond
