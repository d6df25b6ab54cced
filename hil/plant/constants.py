"""Constants of nature and of the Earth, in SI units."""

from typing import Final

STEFAN_BOLTZMANN: Final = 5.670374419e-8  # W m^-2 K^-4, CODATA 2018
SPEED_OF_LIGHT: Final = 299_792_458.0  # m s^-1, exact
PLANCK: Final = 6.62607015e-34  # J s, exact
BOLTZMANN: Final = 1.380649e-23  # J K^-1, exact

ASTRONOMICAL_UNIT_METERS: Final = 149_597_870_700.0  # IAU 2012, exact
SOLAR_CONSTANT: Final = 1361.0  # W m^-2 at 1 au, Kopp and Lean 2011
SUN_RADIUS_METERS: Final = 695_700_000.0  # IAU 2015 nominal

EARTH_RADIUS_METERS: Final = 6_378_137.0  # WGS 84, equatorial
EARTH_FLATTENING: Final = 1.0 / 298.257223563  # WGS 84
EARTH_ROTATION: Final = 7.292115146706979e-5  # rad s^-1, Vallado 2006
EARTH_MU: Final = 3.986004418e14  # m^3 s^-2, WGS 84
EARTH_ALBEDO: Final = 0.30  # mean Bond albedo
EARTH_INFRARED: Final = 237.0  # W m^-2 leaving the Earth, mean (Gilmore, Spacecraft Thermal Control Handbook, ch. 2)

ZERO_CELSIUS: Final = 273.15  # K
