// Where things are between two messages: two-body motion over seconds to hours, and the turning Earth.

const RADIUS = 6378.137, TURN = 2 * Math.PI, EARTH_RATE = 7.2921158553e-5, SQUASH = 0.993305620;
const degrees = (radians) => (radians * 180) / Math.PI;

// body: [x, y, z, vx, vy, vz] in km and km/s (TEME) at time. Near circular, so: turn in its plane.
export function at(body, time, now) {
  const [x, y, z, u, v, w] = body;
  const r = Math.hypot(x, y, z), rate = Math.hypot(u, v, w) / r, angle = rate * (now - time);
  const c = Math.cos(angle), s = Math.sin(angle) / rate;
  return [c * x + s * u, c * y + s * v, c * z + s * w];
}

// Geodetic latitude and longitude in degrees; sky: {sidereal, time} is the Greenwich angle at a time.
export function ground(position, sky, now) {
  const [x, y, z] = position;
  const longitude = Math.atan2(y, x) - sky.sidereal - EARTH_RATE * (now - sky.time);
  return [degrees(Math.atan2(z, SQUASH * Math.hypot(x, y))), wrap(degrees(longitude))];
}

export const wrap = (longitude) => ((((longitude + 180) % 360) + 360) % 360) - 180;
export const xy = ([latitude, longitude]) => [(longitude + 180) * 10, (90 - latitude) * 10];
export const height = (body) => Math.hypot(body[0], body[1], body[2]) - RADIUS;
export const period = (body) => (TURN * Math.hypot(body[0], body[1], body[2])) / Math.hypot(body[3], body[4], body[5]);

// A line over the map, cut where it leaves one side and comes in at the other.
export function line(points) {
  let path = "", before = null;
  for (const [x, y] of points) {
    if (before && Math.abs(x - before[0]) > 1800) {
      const turn = x > before[0] ? -3600 : 3600;
      path += `L${(x + turn).toFixed(1)} ${y.toFixed(1)}M${(before[0] - turn).toFixed(1)} ${before[1].toFixed(1)}`;
    }
    path += `${path ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    before = [x, y];
  }
  return path;
}

export function track(body, time, sky, from, to) {
  const points = [], step = Math.max(20, (to - from) / 120);
  for (let t = from; t <= to; t += step) points.push(xy(ground(at(body, time, t), sky, t)));
  return line(points);
}

// The side of the Earth that the Sun does not see: from the Sun's declination and longitude, degrees.
export function night(declination, longitude) {
  const d = (Math.abs(declination) < 0.05 ? 0.05 : declination) * (Math.PI / 180);
  const points = [];
  for (let l = -180; l <= 180; l += 3) {
    const latitude = Math.atan(-Math.cos(((l - longitude) * Math.PI) / 180) / Math.tan(d));
    points.push(`${(l + 180) * 10} ${((90 - degrees(latitude)) * 10).toFixed(1)}`);
  }
  const pole = d > 0 ? 1800 : 0;
  return `M0 ${pole}L${points.join("L")}L3600 ${pole}Z`;
}

export function sun(sky, now) {
  return [sky.declination, wrap(sky.ascension - degrees(sky.sidereal + EARTH_RATE * (now - sky.time)))];
}
